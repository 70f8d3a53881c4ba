"""The matrix of a Fourier transform against numpy's fast one."""

from __future__ import annotations

import numpy as np
import pytest

from n6convert.graph.patterns.spectrum import fourier_matrix


@pytest.mark.parametrize("size", [1, 2, 7, 16, 400])
@pytest.mark.parametrize("inverse", [False, True])
def test_it_is_the_transform(size: int, inverse: bool) -> None:
    signal = np.random.default_rng(size).standard_normal((size, 2))
    spectrum = np.einsum("np,npbc->bc", signal, fourier_matrix(size, 2, size, inverse=inverse))
    wanted = (np.fft.ifft if inverse else np.fft.fft)(signal[:, 0] + 1j * signal[:, 1])
    np.testing.assert_allclose(spectrum[:, 0] + 1j * spectrum[:, 1], wanted, atol=1e-10 * size)


@pytest.mark.parametrize("size", [8, 9])
def test_real_signals_need_half_of_the_bins(size: int) -> None:
    signal = np.random.default_rng(0).standard_normal(size)
    matrix = fourier_matrix(size, 1, size // 2 + 1)
    assert matrix.shape == (size, 1, size // 2 + 1, 2)
    found = np.einsum("n,nbc->bc", signal, matrix[:, 0])
    np.testing.assert_allclose(found[:, 0] + 1j * found[:, 1], np.fft.rfft(signal), atol=1e-12)


def test_long_transforms_keep_their_phase() -> None:
    """Products of index and bin reach 10**10: taken modulo the size, their angles stay exact."""
    matrix = fourier_matrix(100_000, 1, 2)[-1, 0, 1]
    np.testing.assert_allclose(matrix, [np.cos(2 * np.pi / 1e5), np.sin(2 * np.pi / 1e5)], rtol=1e-12)
    there = fourier_matrix(64, 2, 64)
    back = fourier_matrix(64, 2, 64, inverse=True)
    round_trip = np.einsum("npbc,bcmq->npmq", there, back)
    np.testing.assert_allclose(round_trip.reshape(128, 128), np.eye(128), atol=1e-12)
