"""A convolution with a large cubic kernel -> the same by Fourier transforms of tiles: 343 taps for the price of 18."""

from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor, nn

TILE_PX = 18
"""Side of the part of a tile that is kept. With 7 taps a tile is then 24 wide; larger tiles need larger spectra."""


class FourierConv3d(nn.Module):
    """Same-size 3-D convolution (stride 1) in fp32 through the frequency domain.

    The map is cut into square tiles that overlap by the kernel's size less one (overlap-save); the depth, which is
    short, is transformed as a whole. One product of small matrices per frequency replaces k^3 products per voxel.
    The forward transforms are matrix products too: with channels innermost they read and write whole rows, where an
    FFT library copies the volume three times.
    """

    spectrum: Tensor
    bias: Tensor
    along_w: Tensor
    along_h: Tensor
    along_d: Tensor

    def __init__(self, weight: Float[Tensor, "O C k k k"], bias: Float[Tensor, " O"], depth: int) -> None:
        """Take the kernel of maps with this depth."""
        super().__init__()
        self.reach = weight.shape[-1] // 2
        self.tile = TILE_PX
        side = self.tile + 2 * self.reach
        self.size = (_good_size(depth + self.reach), side, side)
        self.register_buffer("spectrum", self._spectrum(weight.detach()))
        self.register_buffer("bias", bias.detach().float())
        wave = _waves(side, side)
        self.register_buffer("along_w", torch.cat(_parts(wave[: side // 2 + 1])).float())  # (part, frequency) place
        self.register_buffer("along_h", _of_complex(wave).float())  # (part, frequency) (place, part)
        self.register_buffer("along_d", _of_complex(_waves(self.size[0], depth)).float())

    def _spectrum(self, weight: Float[Tensor, "O C k k k"]) -> Float[Tensor, "F C O*2"]:
        """The kernel in the frequency domain, real parts before imaginary ones; one output channel at a time."""
        num_out, C = weight.shape[:2]
        back = _moved_back(self.size, self.reach)
        spectrum = weight.new_empty((back.numel(), C, 2 * num_out), dtype=torch.float32)
        for o, kernel in enumerate(weight):
            # torch's convolutions are correlations: the kernel is mirrored, and its centre moved to the origin.
            wave = torch.fft.rfftn(kernel.double().flip(1, 2, 3), s=self.size, dim=(1, 2, 3)) * back.to(kernel.device)
            spectrum[:, :, o], spectrum[:, :, num_out + o] = wave.real.flatten(1).T, wave.imag.flatten(1).T
        return spectrum

    def forward(self, x: Float[Tensor, "B C D H W"]) -> Float[Tensor, "B O D H W"]:
        """The convolution, zeros outside."""
        B, _, D, H, W = x.shape
        rows, columns, r, t = -(-H // self.tile), -(-W // self.tile), self.reach, self.tile
        voxels = x.float().permute(0, 2, 3, 4, 1).contiguous()
        parts = [self._transformed(one, rows, columns) for one in voxels]
        waves = parts[0] if B == 1 else torch.cat(parts)  # tile part frequency C
        half = (self.size[0], self.size[1], self.size[2] // 2 + 1)
        product_ = self._product(waves).unflatten(2, half)
        back = torch.fft.irfftn(product_, s=self.size, dim=(2, 3, 4))
        kept = back[:, :, :D, r : r + t, r : r + t].unflatten(0, (B, rows, columns))
        whole = kept.permute(0, 3, 4, 1, 5, 2, 6).reshape(B, -1, D, rows * t, columns * t)
        return whole[..., :H, :W] + self.bias.view(1, -1, 1, 1, 1)

    def _transformed(self, voxels: Float[Tensor, "D H W C"], rows: int, columns: int) -> Tensor:
        """Real and imaginary part of every tile's spectrum: tile part frequency C."""
        D, H, W, C = voxels.shape
        half = self.along_w.shape[0] // 2
        by_w = voxels.new_empty(columns, D * H, 2 * half, C)
        for column in range(columns):
            inside, window = self._window(column, W)
            torch.matmul(self.along_w[:, inside], voxels.view(D * H, W, C)[:, window], out=by_w[column])
        by_h = voxels.new_empty(rows, columns, D, 2 * self.size[1], half * C)
        for row, column in product(range(rows), range(columns)):
            inside, window = self._window(row, H)
            lines = by_w[column].view(D, 2 * H, half * C)[:, 2 * window.start : 2 * window.stop]
            factors = self.along_h[:, 2 * inside.start : 2 * inside.stop]
            torch.bmm(factors.expand(D, -1, -1), lines, out=by_h[row, column])
        planes = by_h.view(rows * columns, 2 * D, -1)
        return torch.bmm(self.along_d.expand(len(planes), -1, -1), planes).view(rows * columns, 2, -1, C)

    def _window(self, number: int, length: int) -> tuple[slice, slice]:
        """Which places of a tile lie inside the map, and where; those outside are zeros and need no product."""
        start = number * self.tile - self.reach
        stop = start + self.tile + 2 * self.reach
        inside = slice(max(0, -start), min(stop, length) - start)
        return inside, slice(max(0, start), min(stop, length))

    def _product(self, waves: Float[Tensor, "T 2 F C"]) -> Tensor:
        """Spectra times the kernel's: complex tile O frequency. Real matrix products: complex ones run one by one."""
        parts = waves.flatten(0, 1).transpose(0, 1)  # frequency (tile, part) C
        both = torch.bmm(parts, self.spectrum).unflatten(1, (-1, 2)).unflatten(3, (2, -1))
        real = both[:, :, 0, 0] - both[:, :, 1, 1]
        imaginary = both[:, :, 0, 1] + both[:, :, 1, 0]
        return torch.complex(real.permute(1, 2, 0).contiguous(), imaginary.permute(1, 2, 0).contiguous())


def _good_size(at_least: int) -> int:
    """The next length whose only prime factors are 2, 3 and 5."""
    size = at_least
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1


def _waves(size: int, places: int) -> Tensor:
    """The discrete Fourier transform of the first `places` of `size` places, as a matrix: frequency place."""
    turns = torch.arange(size, dtype=torch.float64)[:, None] * torch.arange(places, dtype=torch.float64) / size
    return torch.polar(torch.ones_like(turns), -2 * torch.pi * turns)


def _parts(wave: Tensor) -> tuple[Tensor, Tensor]:
    return wave.real, wave.imag


def _of_complex(wave: Tensor) -> Tensor:
    """A complex matrix for real numbers: (real, imaginary) outputs from each place's real and imaginary input."""
    of_real, of_imaginary = torch.cat((wave.real, wave.imag)), torch.cat((-wave.imag, wave.real))
    return torch.stack((of_real, of_imaginary), dim=2).flatten(1)


def _moved_back(size: tuple[int, int, int], by: int) -> Tensor:
    """Factors that move a real signal's half spectrum back by `by` along all three axes."""
    d, h, w = (torch.fft.fftfreq(n, dtype=torch.float64) for n in size)
    w = w[: size[2] // 2 + 1].abs()
    turns = d[:, None, None] + h[None, :, None] + w[None, None, :]
    return torch.polar(torch.ones_like(turns), 2 * torch.pi * by * turns)
