import pytest
import torch
import torch.nn.functional as F

from synthcxr.training.neighbour_queue import NeighbourQueue


def batches(count, batch_size, dim=6, num_reports=7):
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        yield (
            torch.randn(batch_size, dim, generator=generator),
            torch.randint(num_reports, (batch_size,), generator=generator) - 3,
        )


@pytest.mark.parametrize(("size", "batch_size"), [(5, 3), (4, 4), (3, 5), (100, 3), (1, 2)])
def test_neighbours_are_those_of_a_list_searched_text_by_text(size, batch_size):
    queue, kept = NeighbourQueue(size, 6), []
    for texts, keys in batches(6, batch_size):
        neighbours, found = queue.nearest(texts, keys)
        for text, key, neighbour, exists in zip(texts, keys, neighbours, found, strict=True):
            others = [embed for embed, other in kept if other != key]
            assert bool(exists) == bool(others)
            if others:
                nearest = max(others, key=lambda other: F.cosine_similarity(text, other, dim=0).item())
                torch.testing.assert_close(neighbour, F.normalize(nearest, dim=0))
        queue.push(texts, keys)
        kept = [*kept, *zip(texts, keys, strict=True)][-size:]


def test_the_own_report_of_an_earlier_epoch_is_no_neighbour():
    queue = NeighbourQueue(4, 2)
    queue.push(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([7, 8]))
    neighbours, found = queue.nearest(torch.tensor([[1.0, 0.0]]), torch.tensor([7]))
    assert found.tolist() == [True]
    assert neighbours.tolist() == [[0.0, 1.0]]


def test_a_key_of_zero_is_a_key_and_an_empty_place_is_none():
    queue = NeighbourQueue(4, 2)
    assert queue.nearest(torch.ones(1, 2), torch.tensor([5]))[1].tolist() == [False]
    queue.push(torch.ones(1, 2), torch.tensor([0]))
    assert queue.nearest(torch.ones(2, 2), torch.tensor([0, 5]))[1].tolist() == [False, True]


def test_a_saved_queue_goes_on_where_it_stood():
    stream = list(batches(5, 3))
    whole, first, second = (NeighbourQueue(7, 6) for _ in range(3))
    for texts, keys in stream[:3]:
        whole.push(texts, keys)
        first.push(texts, keys)
    second.load_state_dict(first.state_dict())
    for texts, keys in stream[3:]:
        whole.push(texts, keys)
        second.push(texts, keys)
    assert all(value.equal(second.state_dict()[name]) for name, value in whole.state_dict().items())


def test_a_queue_without_places_is_refused():
    with pytest.raises(ValueError, match="0 places; expected 1 or more"):
        NeighbourQueue(0, 2)
