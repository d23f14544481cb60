"""Cutting and blending: every pixel once, in bands, from tiles that start where the networks need it."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_ir.restoration.tiling.windows import Overlap, Window, bands, spans, weights

OVERLAP = Overlap(3, 4)


def box_blur(image, radius=3):
    """A filter that looks `radius` pixels far, with the border mirrored as a whole image's would be."""
    flat = torch.nn.functional.pad(image, (radius,) * 4, mode="reflect")
    return torch.nn.functional.avg_pool2d(flat, 2 * radius + 1, stride=1)


def joined(image, run, **options):
    window = Window(0, 0, *image.shape[-2:])
    return torch.cat(
        [band for _, band in bands(window, lambda windows: [run(w.of(image)) for w in windows], **options)], -2
    )


@settings(max_examples=200, deadline=None)
@given(
    length=st.integers(1, 700),
    tiles=st.integers(2, 20),
    overlap=st.integers(0, 40),
    multiple=st.sampled_from([1, 2, 8, 12, 16]),
)
def test_tiles_cover_a_side_with_enough_overlap_and_start_where_they_may(length, tiles, overlap, multiple):
    tile = multiple * tiles
    if overlap + 2 * multiple > tile:
        return
    cuts = spans(length, tile, overlap, multiple)
    assert cuts[0][0] == 0
    assert cuts[-1][1] == length
    assert all(0 < stop - start <= tile and start % multiple == 0 for start, stop in cuts)
    assert all(stop % multiple == 0 for _, stop in cuts[:-1])
    assert all(before[1] - after[0] >= overlap for before, after in pairwise(cuts))
    sizes = [stop - start for start, stop in cuts]
    assert max(sizes) - min(sizes) < multiple  # only the last one may lack the pixels up to a multiple
    assert len(cuts) == 1 if length <= tile else len(cuts) > 1


@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize(("length", "tile", "multiple"), [(100, 32, 4), (101, 32, 4), (57, 24, 8), (250, 250, 8)])
def test_weights_add_up_to_one_and_are_nothing_in_the_context(length, tile, multiple, scale):
    cuts = spans(length, tile, OVERLAP.width, multiple)
    parts = weights(cuts, OVERLAP, scale)
    total = torch.zeros(length * scale)
    for (start, stop), part in zip(cuts, parts, strict=True):
        total[start * scale : stop * scale] += part
        if start > 0:
            assert part[: OVERLAP.context * scale].eq(0).all()
        if stop < length:
            assert part[len(part) - OVERLAP.context * scale :].eq(0).all()
    assert torch.allclose(total, torch.ones_like(total))


@settings(max_examples=40, deadline=None)
@given(height=st.integers(8, 90), width=st.integers(8, 90), tile=st.sampled_from([24, 32, 48]), batch=st.integers(1, 4))
def test_what_looks_no_further_than_the_context_gives_the_same_in_tiles(height, width, tile, batch):
    image = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height * width))
    tiled = joined(image, box_blur, tile=tile, overlap=OVERLAP, multiple=4, batch=batch)
    assert torch.allclose(tiled, box_blur(image), atol=1e-6)


def test_results_may_be_larger_than_what_goes_in():
    image = torch.rand(1, 4, 37, 53)
    enlarge = lambda part: part[:, :3].repeat_interleave(8, -1).repeat_interleave(8, -2)  # noqa: E731
    tiled = joined(image, enlarge, tile=16, overlap=Overlap(1, 2), multiple=2)
    assert torch.allclose(tiled, enlarge(image))


def test_a_band_that_is_out_is_not_read_again():
    height, width = 150, 60
    finished, seen = 0, []

    def run(windows):
        seen.extend(windows)
        assert all(window.top >= finished for window in windows)
        return [torch.zeros(1, 3, window.height, window.width) for window in windows]

    for top, band in bands(Window(0, 0, height, width), run, tile=32, overlap=OVERLAP, multiple=4):
        assert top == finished
        finished = top + band.shape[-2]
    assert finished == height
    assert len(seen) > 8


def test_tiles_of_one_size_go_together():
    sizes = []

    def run(windows):
        sizes.append([(w.height, w.width) for w in windows])
        return [torch.zeros(1, 1, w.height, w.width) for w in windows]

    for _ in bands(Window(0, 0, 20, 200), run, tile=32, overlap=OVERLAP, multiple=4, batch=3):
        pass
    assert max(map(len, sizes)) == 3
    assert all(len(set(group)) == 1 for group in sizes)


def test_what_fits_is_run_in_one_piece_and_handed_on_as_it_is():
    image = torch.rand(1, 3, 40, 40)
    result = torch.rand(1, 3, 40, 40)
    [(top, band)] = bands(Window(0, 0, 40, 40), lambda windows: [result], tile=40, overlap=OVERLAP, multiple=8)
    assert top == 0
    assert band is result
    assert image.shape == band.shape


def test_small_tiles_get_a_smaller_overlap():
    assert Overlap(24, 16).within(1024) == Overlap(24, 16)
    small = Overlap(24, 16).within(64)
    assert small.width <= 32
    assert small.context > 0 < small.ramp
