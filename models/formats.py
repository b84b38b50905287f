"""Number formats: how many bits an element takes in store, and which arithmetic it takes part in."""

from typing import Literal

from models.units import ceil_div

DType = Literal["fp32", "bf16", "fp16", "fp8", "fp8_block", "int8", "w8a16", "fp4", "nvfp4", "mxfp4", "int4", "int4_g32"]

PARTS = 512  # bits are counted in 512ths, so that shared scales are whole
BITS: dict[str, int] = {
    "fp32": 32 * PARTS,
    "bf16": 16 * PARTS,
    "fp16": 16 * PARTS,
    "fp8": 8 * PARTS,
    "fp8_block": 8 * PARTS + 1,  # one fp32 scale for 128 x 128 elements (DeepSeek-V3, arXiv 2412.19437, 3.3)
    "int8": 8 * PARTS,
    "w8a16": 8 * PARTS,
    "fp4": 4 * PARTS,
    "nvfp4": 4 * PARTS + PARTS // 2,  # one fp8 scale for 16 elements
    "mxfp4": 4 * PARTS + PARTS // 4,  # one 8-bit exponent for 32 elements (OCP Microscaling 1.0)
    "int4": 4 * PARTS + PARTS // 8,  # one 16-bit scale for 128 elements
    "int4_g32": 4 * PARTS + PARTS // 2,  # one 16-bit scale for 32 elements
}

COMPUTES_IN: dict[str, str] = {"fp8_block": "fp8", "nvfp4": "fp4", "mxfp4": "bf16", "w8a16": "bf16", "int4": "bf16", "int4_g32": "bf16"}
"""Arithmetic of formats that are not their own: weight-only ones are widened first."""

STAND_INS: dict[str, tuple[str, ...]] = {
    "fp16": ("bf16",),
    "fp8": ("fp8_block",),
    "fp8_block": ("fp8",),
    "fp4": ("nvfp4",),
    "w8a16": ("int8_wo", "bf16"),
    "int4": ("bf16",),
    "int4_g32": ("int4", "bf16"),
    "mxfp4": ("int4", "bf16"),
    "nvfp4": ("fp4",),
}
"""Whose curve a format without one of its own follows, first to last."""


def stored_bytes(elements: int, dtype: str) -> int:
    """Bytes of `elements` numbers with their scales, rounded up once."""
    return ceil_div(elements * BITS[dtype], 8 * PARTS)


def computes_in(dtype: str) -> str:
    """The arithmetic of a stored format."""
    return COMPUTES_IN.get(dtype, dtype)
