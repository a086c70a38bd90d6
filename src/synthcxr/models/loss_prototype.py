"""Disease-level alignment through prototypes: MGCA (Wang et al., 2022, arXiv 2210.06044), after SwAV (2006.09882)."""

import torch
from torch.nn import functional as F


@torch.no_grad()
def sinkhorn(scores: torch.Tensor, *, epsilon: float, num_iterations: int) -> torch.Tensor:
    """
    Spread a batch evenly over prototypes, each sample on those that it resembles (Sinkhorn-Knopp, without gradient).

    The result depends on the whole batch: across processes, hand in the scores of all of them.

    Args:
        scores (`torch.Tensor` of shape `(batch_size, num_prototypes)`):
            Similarity of every sample with every prototype, of any size: the work is done on logarithms, in single
            precision at least.
        epsilon (`float`):
            Divides the scores, above 0. Lower is sharper.
        num_iterations (`int`):
            How often prototypes, then samples, are made equally heavy; at least 1.

    Returns:
        `torch.Tensor` of shape `(batch_size, num_prototypes)`: Assignments, 0 to 1; those of a sample sum to 1.

    Example:

    ```python
    >>> import torch
    >>> from synthcxr.models.loss_prototype import sinkhorn

    >>> sinkhorn(torch.tensor([[1.0, 0.9], [1.0, 0.0]]), epsilon=0.05, num_iterations=3).round().tolist()
    [[0.0, 1.0], [1.0, 0.0]]

    ```
    """
    if epsilon <= 0 or num_iterations < 1:
        raise ValueError(f"Got epsilon {epsilon} and {num_iterations} iterations; expected above 0 and at least 1.")
    with torch.autocast(scores.device.type, enabled=False):
        logarithms = scores.to(torch.promote_types(scores.dtype, torch.float32)) / epsilon
        for _ in range(num_iterations):
            logarithms = logarithms.log_softmax(dim=0)
            logarithms = logarithms.log_softmax(dim=1)
        return logarithms.exp()


def cross_prototype_loss(
    image_scores: torch.Tensor,
    text_scores: torch.Tensor,
    *,
    temperature: float = 0.2,
    epsilon: float = 0.05,
    num_iterations: int = 3,
) -> torch.Tensor:
    """
    Predict the prototypes of a text from its image, and those of an image from its text (MGCA, section 3.4).

    Args:
        image_scores (`torch.Tensor` of shape `(batch_size, num_prototypes)`):
            Cosine of every image with every prototype.
        text_scores (`torch.Tensor` of shape `(batch_size, num_prototypes)`):
            The same of the texts.
        temperature (`float`, *optional*, defaults to 0.2):
            Divides the scores of the prediction, above 0.
        epsilon (`float`, *optional*, defaults to 0.05):
            Divides the scores of the assignment; see [`sinkhorn`].
        num_iterations (`int`, *optional*, defaults to 3):
            Of [`sinkhorn`].

    Returns:
        `torch.Tensor` of shape `()`: Mean of both cross-entropies, averaged over the batch; `log(num_prototypes)`
        when the scores carry no information.

    Example:

    ```python
    >>> import torch
    >>> from synthcxr.models.loss_prototype import cross_prototype_loss

    >>> round(cross_prototype_loss(torch.zeros(4, 8), torch.zeros(4, 8)).item(), 4)  # log 8
    2.0794

    ```
    """
    if image_scores.shape != text_scores.shape or len(image_scores) == 0:
        raise ValueError(
            f"The loss pairs row i with row i; got image_scores {tuple(image_scores.shape)} and text_scores "
            f"{tuple(text_scores.shape)}, expected one non-empty shape."
        )
    losses = []
    with torch.autocast(image_scores.device.type, enabled=False):
        for target, prediction in ((image_scores, text_scores), (text_scores, image_scores)):
            assignments = sinkhorn(target, epsilon=epsilon, num_iterations=num_iterations)
            # A precision of its own: the exponents of a prediction reach 1 / temperature.
            prediction = prediction.to(torch.promote_types(prediction.dtype, torch.float32)) / temperature
            losses.append(F.cross_entropy(prediction, assignments))
    return (losses[0] + losses[1]) / 2
