"""The device that trains, and what it is good at."""

import os

import torch


def choose_device() -> torch.device:
    """The GPU for this process, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    torch.cuda.set_device(device)
    return device


def bf16_is_fast(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16; elsewhere autocast makes training slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
