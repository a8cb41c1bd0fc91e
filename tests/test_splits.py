"""Which composites go where: laws that hold for every list."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dirl_lib.data.iharmony4 import CompositeName, parse_entry
from dirl_lib.data.splits import at_most_half, split_validation, unseen_photographs

names = st.builds(
    CompositeName,
    st.sampled_from(["HCOCO", "HFlickr", "Sample"]),
    st.integers(0, 12).map(str),
    st.integers(0, 3).map(str),
    st.integers(1, 4).map(str),
)
lists = st.lists(names, unique=True, max_size=60)


@given(arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_the_50_percent_rule_is_exact(mask):
    ratio = Fraction(sum(map(int, mask.ravel())), 255 * mask.size)
    assert at_most_half(int(mask.sum()), mask.size) == (ratio <= Fraction(1, 2))


def test_one_grey_level_decides_a_border_case():
    mask = np.array([[255, 0]], dtype=np.uint8)
    assert at_most_half(int(mask.sum()), 2)
    mask[0, 1] = 1
    assert not at_most_half(int(mask.sum()), 2)


@given(lists, st.integers(0, 3))
def test_a_photograph_lies_on_one_side_only_and_nothing_is_lost(entries, seed):
    train, val = split_validation(entries, seed=seed)
    assert sorted(train + val) == sorted(entries)
    assert not {name[:2] for name in train} & {name[:2] for name in val}


@given(lists, st.randoms())
def test_the_order_of_the_list_has_no_part_in_the_draw(entries, random):
    shuffled = list(entries)
    random.shuffle(shuffled)
    assert set(split_validation(entries)[1]) == set(split_validation(shuffled)[1])


@pytest.mark.parametrize(("subset", "photos"), [("HCOCO", 300), ("Hday2night", 20)])
def test_every_sub_dataset_gives_its_tenth(subset, photos):
    entries = [CompositeName(subset, str(p), "1", str(k)) for p in range(photos) for k in (1, 2)]
    entries += [CompositeName("HFlickr", str(p), "1", "1") for p in range(50)]
    _, val = split_validation(entries)
    assert sum(name.subset == subset for name in val) == photos * 2 // 10


def test_another_seed_is_another_draw():
    entries = [CompositeName("HCOCO", str(photo), "1", "1") for photo in range(100)]
    assert split_validation(entries, seed=0)[1] != split_validation(entries, seed=1)[1]


@given(lists, lists)
def test_unseen_photographs_are_those_of_no_training_image(test, train):
    unseen = unseen_photographs(test, train)
    assert unseen == [one for one in test if all(one[:2] != other[:2] for other in train)]


def test_another_object_of_a_training_photograph_is_seen():
    train = [parse_entry("HCOCO/composite_images/c1_5_1.jpg")]
    test = [parse_entry(f"HCOCO/composite_images/{stem}.jpg") for stem in ("c1_6_1", "c2_5_1")]
    assert unseen_photographs(test, train) == test[1:]
