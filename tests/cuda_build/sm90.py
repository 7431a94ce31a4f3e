"""What Triton makes of our kernels for an H100, on a machine that has none: `python sm90.py RESULT.json`.

A CPU traces each function, forward and backward, to the graphs that the compiler starts from. Inductor is then told
that their tensors lie on an H100, writes its Triton code, and Triton compiles that to machine code ahead of time. What
is told here holds for the whole process, which is why this is a program and not a test.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.utils._triton
import triton
from functorch.compile import make_boxed_func
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.device_interface import CudaInterface
from torch._guards import TracingContext, tracing
from torch._inductor import config as inductor_config
from torch._inductor.debug import DebugContext
from torch._inductor.decomposition import select_decomp_table
from torch._inductor.graph import GraphLowering
from torch._inductor.runtime import triton_helpers
from torch._inductor.virtualized import V
from torch.nn.attention import flex_attention
from transformers.activations import ACT2FN
from triton.backends.compiler import GPUTarget

from alignment.modeling import chunked_logps, compiled_elementwise
from alignment.modeling.attention import Scores, SharedPrompts, flex

H100 = SimpleNamespace(
    name="NVIDIA H100 80GB HBM3",
    major=9,
    minor=0,
    multi_processor_count=132,
    regs_per_multiprocessor=65536,
    max_threads_per_multi_processor=2048,
    max_threads_per_block=1024,
    warp_size=32,
    total_memory=80 * 2**30,
    L2_cache_size=50 * 2**20,
    shared_memory_per_block=48 * 1024,
    shared_memory_per_block_optin=227 * 1024,
    shared_memory_per_multiprocessor=228 * 1024,
    gcnArchName="",
    is_integrated=0,
)
Graph = tuple[str, torch.fx.GraphModule]
"""Name, and what the compiler starts from."""


class _Traced(Exception):
    """Raised in place of a backward pass, which a CPU would need minutes for."""


def graphs_of(name: str, use: Callable[[Callable[..., Any]], Any]) -> list[Graph]:
    """Forward and, where `use` gives something with a gradient, backward graph.

    Args:
        use: called with what takes the place of `torch.compile(..., dynamic=True)`.
    """
    found: list[Graph] = []

    def forward(graph: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        found.append((f"{name}, forward", graph))
        return make_boxed_func(graph.forward)

    def backward(graph: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        found.append((f"{name}, backward", graph))
        return make_boxed_func(stop)

    def stop(*_: Any) -> None:
        raise _Traced

    backend = aot_autograd(fw_compiler=forward, bw_compiler=backward, decompositions=select_decomp_table())
    out = use(lambda function: torch.compile(function, backend=backend, dynamic=True, fullgraph=True))
    if isinstance(out, Tensor) and out.requires_grad:
        with suppress(_Traced):
            out.sum().backward()
    torch._dynamo.reset()
    return found


def all_graphs() -> Iterator[Graph]:
    """Of FlexAttention with Gemma-2-9B's heads, and of all that the project compiles, in bf16."""
    flex_attention._validate_device = lambda *_: None  # it refuses to train on a CPU, which only traces here
    for window in (None, 60):
        yield from graphs_of(f"flex_attention, head size 256, soft-cap 50, window {window}", _flex(window))
    x, weight = torch.ones(40, 3584, dtype=torch.bfloat16, requires_grad=True), torch.ones(3584, dtype=torch.bfloat16)
    weight.requires_grad_()
    yield from graphs_of(
        "offset_rms_norm", lambda compile: compile(compiled_elementwise.offset_rms_norm)(x, weight, 1e-6)
    )
    yield from graphs_of("rms_norm", lambda compile: compile(compiled_elementwise.rms_norm)(x, weight, 1e-5))
    gate = compiled_elementwise.gated(ACT2FN["gelu_pytorch_tanh"])
    yield from graphs_of("gated activation", lambda compile: compile(gate)(x, x.detach().clone().requires_grad_()))
    z, columns, ones = torch.ones(40, 4096), torch.arange(40), torch.ones(40)
    yield from graphs_of("head, capped", lambda compile: compile(chunked_logps.capped)(z.bfloat16(), 30.0))
    yield from graphs_of("head, block_statistics", lambda compile: compile(chunked_logps.block_statistics)(z, columns))
    yield from graphs_of(
        "head, block_gradients", lambda compile: compile(chunked_logps.block_gradients)(z, columns, ones, ones, 30.0)
    )


def _flex(window: int | None) -> Callable[..., Tensor]:
    def use(compile: Callable[..., Any]) -> Tensor:
        kernel = compile(flex._run)
        flex._kernel = lambda: kernel
        layout = SharedPrompts([(40, 20, 30), (30, 20, 10)], torch.device("cpu"))
        qkv = (torch.ones(layout.tokens, n, 256, dtype=torch.bfloat16, requires_grad=True) for n in (16, 8, 8))
        return flex.attend(*qkv, layout, Scores(scale=256**-0.5, softcap=50.0, window=window))

    return use


def pretend_h100() -> None:
    """For PyTorch, Inductor and Triton, whatever they have remembered of this machine."""
    told = {
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "get_device_properties": H100,
        "get_device_capability": (9, 0),
    }
    for name, value in told.items():
        setattr(torch.cuda, name, lambda *_, value=value: value)
    for name, value in {**told, "get_compute_capability": 90}.items():
        for owner in (CudaInterface, CudaInterface.Worker):
            setattr(owner, name, staticmethod(lambda *_, value=value: value))
    inductor_config.use_static_triton_launcher = False  # it keeps no PTX
    triton_helpers.set_driver_to_gpu = lambda: None
    for remembered in vars(torch.utils._triton).values():
        getattr(remembered, "cache_clear", lambda: None)()
    driver = {
        "get_current_target": GPUTarget("cuda", 90, 32),
        "get_current_device": 0,
        "get_active_torch_device": torch.device("cuda", 0),
    }
    triton.runtime.driver.set_active(SimpleNamespace(**{k: lambda value=v: value for k, v in driver.items()}))


def triton_code(graph: torch.fx.GraphModule, *, backward: bool) -> dict[str, str]:
    """Name to Triton source of the kernels that Inductor writes for a graph."""
    mode = next(n.meta["val"].fake_mode for n in graph.graph.nodes if isinstance(n.meta.get("val"), Tensor))
    for part in (graph, *graph.children()):
        for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
            node.meta["val"] = _on_gpu(node.meta.get("val"), mode)
            node.args = tuple(_with_logsumexp(arg) for arg in node.args)
            if "device" in node.kwargs:
                node.kwargs = {**node.kwargs, "device": torch.device("cuda", 0)}
    inputs = [node.meta["val"] for node in graph.graph.nodes if node.op == "placeholder"]
    graph.recompile()
    with tracing(TracingContext(mode)), V.set_fake_mode(mode):
        lowering = GraphLowering(graph, inputs, shape_env=mode.shape_env, is_backward=backward)
        with V.set_graph_handler(lowering), V.set_debug_handler(DebugContext()):
            lowering.run(*inputs)
            code = lowering.codegen()[0].value
    return dict(re.findall(r"async_compile\.triton\('(\w+)', '''(.*?)'''", code, flags=re.DOTALL))


def _on_gpu(value: Any, mode: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return type(value)(_on_gpu(one, mode) for one in value)
    if not isinstance(value, Tensor):
        return value
    with mode:
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cuda")


def _with_logsumexp(argument: Any) -> Any:
    """On a CPU FlexAttention leaves out what only its backward pass on a GPU needs."""
    if isinstance(argument, dict) and "OUTPUT_LOGSUMEXP" in argument:
        return {**argument, "OUTPUT_LOGSUMEXP": True}
    return argument


def compiled(name: str, source: str, folder: Path) -> list[dict[str, Any]]:
    """What every configuration of a kernel takes of a multiprocessor."""
    file = folder / f"{name}.py"
    file.write_text(source)
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kernel = getattr(module, name)
    kernel.precompile(warm_cache_only=True)
    return [_resources(result.kernel, folder) for result in kernel.compile_results]


def _resources(kernel: Any, folder: Path) -> dict[str, Any]:
    """Registers and spills are ptxas's own words about the machine code."""
    code = folder / "kernel.ptx"
    code.write_text(kernel.asm["ptx"])
    ptxas = Path(triton.__file__).parent / "backends/nvidia/bin/ptxas"
    command = [ptxas, "-v", "-arch=sm_90a", code, "-o", folder / "kernel.cubin"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    stores, loads = (int(re.search(rf"(\d+) bytes spill {what}", said)[1]) for what in ("stores", "loads"))
    return {
        "shared_memory_bytes": kernel.metadata.shared,
        "registers": int(re.search(r"Used (\d+) registers", said)[1]),
        "spill_store_bytes": stores,
        "spill_load_bytes": loads,
        "warps": kernel.metadata.num_warps,
        "stages": kernel.metadata.num_stages,
    }


def main(result: Path) -> None:
    graphs = list(all_graphs())
    pretend_h100()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, graph in graphs:
            for kernel, source in triton_code(graph, backward=name.endswith("backward")).items():
                for number, resources in enumerate(compiled(kernel, source, Path(folder))):
                    rows.append({"function": name, "kernel": kernel, "configuration": number, **resources})
    versions = {"torch": torch.__version__, "triton": triton.__version__}
    result.write_text(json.dumps({"target": "sm_90", "versions": versions, "kernels": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
