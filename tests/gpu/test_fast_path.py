"""What only a GPU can show: its attention kernels, compiled pieces and planned memory against plain computations."""

from __future__ import annotations

import pytest
import torch
from tiny import gemma2_config
from transformers import AutoModelForCausalLM

from alignment.data.packed_batches import PackedPreferenceCollator
from alignment.data.padded_batches import PaddedPreferenceCollator
from alignment.modeling.attention import BACKENDS, Needs, Scores, SharedPrompts, attention_of, segments, this_machine
from alignment.modeling.chunked_logps import chunked_logps
from alignment.modeling.compiled_elementwise import fuse_elementwise
from alignment.modeling.logps import padded_logps
from alignment.modeling.packed_forward import packed_logps, prepare_for_packing
from alignment.modeling.paired_forward import share_prompts

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

CUDA = torch.device("cuda")
LENGTHS = [(5, 130, 7), (200, 1, 90), (1, 1, 1), (64, 64, 64), (17, 300, 280)]


def pairs_of(lengths, vocabulary: int = 500) -> list[dict]:
    generator = torch.Generator().manual_seed(0)
    columns = ("prompt_ids", "chosen_ids", "rejected_ids")
    return [
        {
            name: torch.randint(3, vocabulary, (n,), generator=generator).tolist()
            for name, n in zip(columns, pair, strict=True)
        }
        | {"weight": 1.0, "index": i}
        for i, pair in enumerate(lengths)
    ]


def on_gpu(batch: dict) -> dict:
    return {name: value.to(CUDA) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "segments"])
@pytest.mark.parametrize("dim", [64, 256])
@pytest.mark.parametrize(("softcap", "window"), [(None, None), (50.0, None), (50.0, 40)], ids=str)
def test_attention_errs_no_more_than_plain_bf16(backend, dim, softcap, window):
    """Output and gradients against fp64; the yardstick is the plain computation in bf16."""
    needs = Needs(head_dim=dim, dtype=torch.bfloat16, softcap=softcap, window=window)
    misfit = BACKENDS[backend](needs, this_machine(CUDA))
    if misfit:
        pytest.skip(misfit)
    torch.manual_seed(0)
    layout = SharedPrompts(LENGTHS, CUDA)
    shapes = [(layout.tokens, 8, dim), (layout.tokens, 4, dim), (layout.tokens, 4, dim)]
    qkv = [torch.randn(shape, device=CUDA, dtype=torch.bfloat16) * 2 for shape in shapes]
    outer = torch.randn(shapes[0], device=CUDA, dtype=torch.bfloat16)

    def values(attend, dtype):
        inputs = [x.to(dtype).requires_grad_() for x in qkv]
        out = attend(*inputs, layout, Scores(scale=dim**-0.5, softcap=softcap, window=window))
        return out, *torch.autograd.grad((out * outer.to(dtype)).sum(), inputs)

    truth = values(segments.attend, torch.float64)
    plain = values(segments.attend, torch.bfloat16)
    found = values(attention_of(backend), torch.bfloat16)
    for name, exact, theirs, mine in zip(("out", "query", "key", "value"), truth, plain, found, strict=True):
        error, plain_error = ((side.double() - exact).norm().item() for side in (mine, theirs))
        assert error <= 1.5 * plain_error, (name, error, plain_error)


def small_gemma2(dtype: torch.dtype):
    torch.manual_seed(0)
    config = gemma2_config(500, hidden_size=128, head_dim=64, query_pre_attn_scalar=64, sliding_window=100)
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").to(CUDA, dtype).train()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_a_packed_row_gives_the_padded_losses(dtype):
    model, pairs = small_gemma2(dtype), pairs_of(LENGTHS)
    exact = padded_logps(small_gemma2(torch.float32), on_gpu(PaddedPreferenceCollator(0)(pairs))).means
    plain = padded_logps(model, on_gpu(PaddedPreferenceCollator(0)(pairs))).means
    prepare_for_packing(model)
    fuse_elementwise(model, CUDA)
    found = packed_logps(model, on_gpu(PackedPreferenceCollator()(pairs))).means
    found.sum().backward()
    assert model.lm_head.weight.grad.isfinite().all()
    if dtype == torch.float32:
        assert torch.allclose(found, exact, rtol=1e-4, atol=1e-4)
    else:
        assert (found - exact).norm() <= 1.5 * (plain - exact).norm()


def test_padded_pairs_give_the_padded_hidden_states():
    """DPO's path, as TRL calls it: a policy with gradients, and a reference without."""
    pairs = pairs_of(LENGTHS)
    batch = on_gpu(PaddedPreferenceCollator(0)(pairs))
    ids, mask = batch["input_ids"], batch["attention_mask"]
    lengths = [tuple(len(pair[f"{name}_ids"]) for name in ("prompt", "chosen", "rejected")) for pair in pairs]
    exact, plain, found = small_gemma2(torch.float32), small_gemma2(torch.bfloat16), small_gemma2(torch.bfloat16)
    share_prompts(found)
    fuse_elementwise(found, CUDA)

    def hidden(model, **pairs):
        return model.base_model(input_ids=ids, attention_mask=mask, **pairs).last_hidden_state[mask.bool()]

    truth, theirs, mine = hidden(exact), hidden(plain), hidden(found, pair_lengths=lengths)
    assert (mine - truth).norm() <= 1.5 * (theirs - truth).norm()
    mine.sum().backward()
    assert found.base_model.embed_tokens.weight.grad.isfinite().all()
    with torch.no_grad():
        assert torch.allclose(hidden(found, pair_lengths=lengths), mine)


def test_many_shapes_do_not_recompile_without_end():
    model = small_gemma2(torch.bfloat16)
    prepare_for_packing(model)
    fuse_elementwise(model, CUDA)
    for size in range(20, 60, 3):
        packed_logps(
            model, on_gpu(PackedPreferenceCollator()(pairs_of([(size, size + 3, size + 1)])))
        ).sums.sum().backward()
    assert model.lm_head.weight.grad.isfinite().all()


@pytest.mark.parametrize("softcap", [None, 30.0])
def test_the_compiled_head_errs_no_more_than_plain_bf16(softcap):
    torch.manual_seed(0)
    x = torch.randn(300, 256, device=CUDA, dtype=torch.bfloat16).mul_(2).requires_grad_()
    weight = torch.randn(4000, 256, device=CUDA, dtype=torch.bfloat16).mul_(0.5).requires_grad_()
    targets = torch.randint(0, 4000, (300,), device=CUDA)

    def plain(terms, targets, softcap):
        logits = terms[0][0] @ terms[0][1].t()
        logits = logits if softcap is None else torch.tanh(logits / softcap) * softcap
        precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return precise.log_softmax(-1).gather(1, targets[:, None])[:, 0], None

    def values(function, inputs):
        logps = function([tuple(inputs)], targets, softcap=softcap)[0]
        return logps, *torch.autograd.grad(logps.sum(), inputs)

    truth = values(plain, [t.detach().double().requires_grad_() for t in (x, weight)])
    theirs, mine = values(plain, (x, weight)), values(lambda *a, **k: chunked_logps(*a, block=900, **k), (x, weight))
    for name, exact, their, our in zip(("logps", "x", "weight"), truth, theirs, mine, strict=True):
        assert (our.double() - exact).norm() <= 1.02 * (their.double() - exact).norm(), name


def test_the_head_never_holds_all_logits():
    x = torch.randn(4096, 512, device=CUDA, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(256_000, 512, device=CUDA, dtype=torch.bfloat16, requires_grad=True)
    targets = torch.randint(0, 256_000, (4096,), device=CUDA)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    chunked_logps([(x, weight)], targets, softcap=30.0)[0].sum().backward()
    weight_gradient = weight.numel() * weight.element_size()
    assert torch.cuda.max_memory_allocated() - before < weight_gradient + 2 * 2**30


def test_liger_kernels_err_no_more_than_the_models_own():
    """`use_liger_kernel: true`, patched as the Trainer patches an instance that packing has prepared.

    The last test of this file: Liger also replaces the classes that later models are built of.
    """
    liger = pytest.importorskip("liger_kernel.transformers")
    batch = on_gpu(PackedPreferenceCollator()(pairs_of(LENGTHS)))

    def values(dtype, patched):
        model = small_gemma2(dtype)
        prepare_for_packing(model)
        if patched:
            liger._apply_liger_kernel_to_instance(model=model, fused_linear_cross_entropy=False, cross_entropy=False)
        means = packed_logps(model, batch).means
        means.sum().backward()
        return means, model.base_model.embed_tokens.weight.grad

    exact, plain, found = (values(*how) for how in ((torch.float32, 0), (torch.bfloat16, 0), (torch.bfloat16, 1)))
    for truth, theirs, mine in zip(exact, plain, found, strict=True):
        assert (mine - truth).norm() <= 1.5 * (theirs - truth).norm()
    for truth, mine in zip(exact, values(torch.float32, 1), strict=True):
        assert torch.allclose(mine, truth, rtol=1e-3, atol=1e-4)
