import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch._inductor.utils import run_and_get_code

from unimatch.speed.upsampling import Upsample, interpolation_gradient, upsample


def plain_gradient(gradient, coarse):
    """Of linear interpolation with the ends aligned, cell by cell, of one row."""
    full, result = len(gradient), np.zeros(coarse)
    for r in range(full):
        position = r * (coarse - 1) / (full - 1) if full > 1 else 0.0
        left = min(int(position), coarse - 1)
        share = position - left
        result[left] += (1 - share) * gradient[r]
        result[min(left + 1, coarse - 1)] += share * gradient[r]
    return result


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000))
def test_the_gradient_is_that_of_a_plain_loop(coarse, full, seed):
    gradient = torch.randn(full, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = np.stack([plain_gradient(column, coarse) for column in gradient.numpy().T], axis=1)
    np.testing.assert_allclose(interpolation_gradient(gradient, 0, coarse).numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sizes", [((5, 7), (10, 14)), ((37, 37), (74, 74)), ((4, 9), (11, 9)), ((1, 3), (4, 1))])
def test_it_is_pytorchs(sizes):
    coarse, full = sizes
    maps = torch.randn(2, 3, *coarse, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, *full, dtype=torch.float64)
    expected = F.interpolate(maps, full, mode="bilinear", align_corners=True)
    result = Upsample.apply(maps, full)
    assert torch.equal(result, expected)
    gradients = [torch.autograd.grad((each * weights).sum(), maps)[0] for each in (result, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-11)


@pytest.mark.nightly
@pytest.mark.slow
def test_compiled_it_has_no_scatter():
    def work(function, maps):
        return (function(maps.relu(), (12, 14)) ** 2).sum()

    def plain(maps, size):
        return F.interpolate(maps, size, mode="bilinear", align_corners=True)

    maps = torch.randn(1, 4, 6, 7)
    gradients, scatters = [], []
    for function in (plain, Upsample.apply):
        copy = maps.clone().requires_grad_()

        def step(copy=copy, function=function):
            torch.compile(work)(function, copy).backward()

        _, code = run_and_get_code(step)
        gradients.append(copy.grad)
        scatters.append(sum(each.count("atomic_add") + each.count("index_put") for each in code))
    assert scatters[0] > 0  # else this test, and Upsample, can go
    assert scatters[1] == 0
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_compiled_on_a_gpu_it_is_pytorchs_on_the_cpu(dtype, tolerance):
    maps = torch.randn(2, 16, 37, 37)
    weights = torch.randn(2, 16, 74, 74)
    gradients = []
    for device, function in (("cpu", upsample), ("cuda", torch.compile(upsample))):
        of_type = dtype if device == "cuda" else torch.float32
        copy = maps.to(device, of_type, copy=True).requires_grad_()
        (function(copy * 1, (74, 74)) * weights.to(device)).sum().backward()
        gradients.append(copy.grad.float().cpu())
    assert (gradients[1] - gradients[0]).norm() < tolerance * gradients[0].norm()
