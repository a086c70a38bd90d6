from collections import Counter

import numpy as np
import pytest
import torch

from synthcxr.data.pairs import load_pairs
from synthcxr.training.diffusion_draws import DiffusionDraws, PairOrder, RankSampler, seeded_noise
from synthcxr.training.diffusion_objectives import FlowMatching


def test_without_balance_every_pair_is_drawn_once_an_epoch():
    order = PairOrder([()] * 7, balance=0.0, seed=1)
    epochs = [[order[epoch * 7 + place] for place in range(7)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_the_order_does_not_depend_on_what_was_asked_before():
    fresh, used = (PairOrder([()] * 5, balance=0.0, seed=1) for _ in range(2))
    for position in (22, 3, 14, 9):
        used[position]
    assert [fresh[position] for position in (9, 14, 3)] == [used[position] for position in (9, 14, 3)]


def test_balance_draws_rare_findings_more_often():
    labels = [[0]] * 990 + [[1, 0]] * 10
    shares = []
    for power in (0.0, 0.5, 1.0):
        order = PairOrder(labels, balance=power, seed=0)
        shares.append(np.mean([order[position] >= 990 for position in range(4000)]))
    # Weights 1, sqrt(1000 / 10) and 1000 / 10 against 1.
    assert shares[0] == pytest.approx(0.01, abs=0.001)
    assert shares[1] == pytest.approx(100 / 1090, abs=0.02)
    assert shares[2] == pytest.approx(1000 / 1990, abs=0.03)


def test_processes_share_out_what_one_process_draws():
    def positions(rank, processes, first=0, last=4, size=2):
        return list(RankSampler(batch_size=size, first=first, last=last, rank=rank, num_processes=processes))

    one = [position for batch in positions(0, 1, size=4) for position in batch]
    both = [left + right for left, right in zip(positions(0, 2), positions(1, 2), strict=True)]
    assert [position for batch in both for position in batch] == one
    assert positions(1, 2, first=2) == positions(1, 2)[2:]


def test_noise_does_not_depend_on_the_batch():
    whole = seeded_noise([5, 6, 7], (2, 3))
    assert torch.equal(whole[1:2], seeded_noise([6], (2, 3)))
    assert not torch.equal(whole[0], whole[1])


def test_a_draw_follows_from_seed_and_position(pairs_folder):
    rows = load_pairs(pairs_folder).select(range(6))

    def draws(seed):
        return DiffusionDraws(
            rows,
            objective=FlowMatching(num_train_timesteps=1000),
            order=PairOrder([()] * 6, balance=0.0, seed=seed),
            column="mixed",
            caption_dropout=0.1,
            seed=seed,
        )

    alone, batch = draws(0)[8], draws(0).__getitems__([7, 8])[1]
    assert alone == batch
    assert draws(1)[8]["noise_seed"] != alone["noise_seed"]
    times = Counter(draws(0)[position]["time"] for position in range(12))
    assert len(times) == 12  # a pair is not noised alike in every epoch
