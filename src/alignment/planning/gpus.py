"""What is known of GPUs: memory, peak and how fast those of one machine talk to each other."""

from __future__ import annotations

from dataclasses import dataclass

from alignment.errors import Fault, SetupError, did_you_mean
from alignment.modeling.flops import peak_flops
from alignment.planning.summary import CPU

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One kind of GPU, as machines with several of them have it."""

    name: str
    """What `GPU=` calls it."""
    driver_name: str
    """What its driver calls it, by which `modeling.flops.PEAK_TFLOPS` knows its peak."""
    memory_mib: int
    """What `nvidia-smi` reports in all."""
    link: float
    """GB/s in one direction from one GPU to the others of its machine."""
    nvlink: bool = True
    """They are joined by NVLink; else they talk over PCI Express, at about 80 % of its rate."""

    @property
    def memory(self) -> int:
        """Bytes."""
        return self.memory_mib * 2**20

    @property
    def peak(self) -> float:
        """Dense bf16 FLOP/s."""
        found = peak_flops(self.driver_name)
        assert found is not None, f"PEAK_TFLOPS does not know {self.driver_name}"
        return found


# Sources: NVIDIA's data sheets of H100, H200, B200, A100, L40S, L4, A10, RTX 6000 Ada and the GeForce pages for memory,
# NVLink (900, 900, 1800 and 600 GB/s in both directions together) and PCI Express generation; what nvidia-smi reports
# for what of the memory is there.
GPUS: dict[str, Gpu] = {
    gpu.name: gpu
    for gpu in (
        Gpu(name="h100-80", driver_name="NVIDIA H100 80GB HBM3", memory_mib=81_559, link=450),
        Gpu(name="h200", driver_name="NVIDIA H200", memory_mib=143_771, link=450),
        Gpu(name="b200", driver_name="NVIDIA B200", memory_mib=183_359, link=900),
        Gpu(name="a100-80", driver_name="NVIDIA A100-SXM4-80GB", memory_mib=81_920, link=300),
        Gpu(name="a100-40", driver_name="NVIDIA A100-SXM4-40GB", memory_mib=40_960, link=300),
        Gpu(name="l40s", driver_name="NVIDIA L40S", memory_mib=46_068, link=25, nvlink=False),
        Gpu(name="rtx6000-ada", driver_name="NVIDIA RTX 6000 Ada Generation", memory_mib=49_140, link=25, nvlink=False),
        Gpu(name="5090", driver_name="NVIDIA GeForce RTX 5090", memory_mib=32_607, link=50, nvlink=False),
        Gpu(name="4090", driver_name="NVIDIA GeForce RTX 4090", memory_mib=24_564, link=25, nvlink=False),
        Gpu(name="a10", driver_name="NVIDIA A10", memory_mib=23_028, link=25, nvlink=False),
        Gpu(name="l4", driver_name="NVIDIA L4", memory_mib=23_034, link=25, nvlink=False),
    )
}

_SHORT = {"h100": "h100-80", "a100": "a100-80"}


def gpus_named(name: str | None) -> tuple[Gpu, ...]:
    """The GPU with this name, or all of them; none for `cpu`.

    Raises:
        SetupError: nobody knows it.
    """
    if name is None:
        return tuple(GPUS.values())
    wanted = name.lower().replace("_", "-").removeprefix("rtx-").removeprefix("nvidia-")
    if wanted == CPU:
        return ()
    gpu = GPUS.get(_SHORT.get(wanted, wanted)) or GPUS.get(wanted.removeprefix("rtx"))
    if gpu is None:
        known = (*GPUS, CPU)
        remedy = did_you_mean(wanted, known) or f"known are {', '.join(known)}"
        raise SetupError(Fault(key="GPU", value=name, rule="is not a GPU that a plan knows", remedy=remedy))
    return (gpu,)
