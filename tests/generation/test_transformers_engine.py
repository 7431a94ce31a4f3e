"""Answers of a real, tiny model: the same whatever the batch, ended where they end, within bounded memory."""

from __future__ import annotations

import itertools

import pytest
import torch
from tiny import gemma2, gemma_tokenizer, sentence

from alignment.errors import DataError, SetupError
from alignment.generation.answers import draw_answers
from alignment.generation.engine import Request
from alignment.generation.prompts import LOOK_AHEAD
from alignment.generation.transformers_engine import TransformersEngine
from alignment.recipe.generation_settings import GenerationSettings

EOS, END_OF_TURN = 1, 5


@pytest.fixture(scope="module")
def tokenizer():
    return gemma_tokenizer()


@pytest.fixture
def model(tokenizer):
    return gemma2(len(tokenizer)).eval()


def asked(text: str, *, id: str = "one", seed: int = 0) -> Request:
    return Request(id=id, messages=[{"role": "user", "content": text}], seed=seed)


@pytest.fixture(scope="module")
def requests():
    import random

    texts = [sentence(random.Random(at), 1 + at % 17) for at in range(16)]
    return [asked(text, id=f"{at}/{seed}", seed=seed) for at, text in enumerate(texts) for seed in (13, 21)]


def engine(model, tokenizer, **settings) -> TransformersEngine:
    return TransformersEngine(
        GenerationSettings(**{"temperature": 1.0, "max_new_tokens": 12, **settings}), model, tokenizer
    )


def texts(made: TransformersEngine, requests) -> dict[str, str]:
    return {request.id: answer.text for request, answer in made.answers(requests)}


def test_an_answer_does_not_depend_on_its_batch(model, tokenizer, requests):
    together = texts(engine(model, tokenizer), requests)
    alone = texts(engine(model, tokenizer, tokens_per_batch=1), requests)
    again = texts(engine(model, tokenizer, tokens_per_batch=200), requests[::-1])
    assert together == alone == again
    assert len(set(together.values())) == len(requests)


def test_batches_keep_within_the_budget(model, tokenizer, requests):
    shapes = []
    model.register_forward_pre_hook(
        lambda _, args, given: shapes.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    texts(engine(model, tokenizer, tokens_per_batch=200), requests)
    prefills = [(rows, width) for rows, width in shapes if width > 1]
    assert all(rows * (width + 12) <= 200 for rows, width in prefills)
    assert max(rows for rows, _ in prefills) >= 4 and sum(rows for rows, _ in prefills) == len(requests)


def test_greedy_answers_are_those_of_the_measurement(model, tokenizer):
    prompts = ["Why cat?", "How far is the river from the stone, and why?"]
    plain = draw_answers(model, tokenizer, prompts, samples=1, max_new_tokens=12, temperature=0, seed=0, batch_size=2)
    greedy = engine(model, tokenizer, temperature=0)
    ours = dict((request.id, answer) for request, answer in greedy.answers(asked(text, id=text) for text in prompts))
    assert [ours[text] for text in prompts] == [answers[0] for answers in plain]


def refuse_more_than(rows: int):
    def hook(module, args, given):
        if given["input_ids"].shape[0] > rows:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    return hook


def test_where_memory_does_not_do_batches_become_smaller(model, tokenizer, requests):
    whole = texts(engine(model, tokenizer), requests)
    model.register_forward_pre_hook(refuse_more_than(3), with_kwargs=True)
    assert texts(engine(model, tokenizer), requests) == whole


def test_one_answer_that_does_not_fit_is_named(model, tokenizer):
    model.register_forward_pre_hook(refuse_more_than(0), with_kwargs=True)
    with pytest.raises(SetupError, match=r"request one of \d+ tokens with its answer does not fit into the memory"):
        texts(engine(model, tokenizer), [asked("Why?")])


def test_another_failure_is_not_taken_for_a_lack_of_memory(model, tokenizer):
    def fail(*_):
        raise RuntimeError("something else")

    model.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="something else"):
        texts(engine(model, tokenizer), [asked("Why?")])


def test_endless_requests_are_taken_as_they_are_needed(model, tokenizer):
    taken = itertools.count()
    endless = (asked("Why?", id=str(next(taken)), seed=seed) for seed in itertools.count())
    answers = engine(model, tokenizer, max_new_tokens=1, tokens_per_batch=400).answers(endless)
    assert len(list(itertools.islice(answers, 5))) == 5
    assert next(taken) == LOOK_AHEAD


@pytest.fixture
def wordy(model, tokenizer):
    """A model that says whole words only, so that its text has one spelling in tokens."""
    words = [token for text, token in tokenizer.get_vocab().items() if text.startswith("Ġ") and len(text) > 3]

    def silence(module, args, output):
        kept = torch.full_like(output.logits, -torch.inf)
        kept[..., words] = output.logits[..., words]
        output.logits = kept

    model.register_forward_hook(silence)
    return model


def tokens_of(tokenizer, text: str) -> list[int]:
    return tokenizer(f" {text}", add_special_tokens=False)["input_ids"]


def test_a_stop_token_ends_an_answer(wordy, tokenizer):
    free = next(engine(wordy, tokenizer).answers([asked("Why?")]))[1]
    drawn = tokens_of(tokenizer, free.text)
    assert len(drawn) == free.tokens == 12 and not free.finished
    stopped = next(engine(wordy, tokenizer, stop_token_ids=(drawn[5],)).answers([asked("Why?")]))[1]
    at = drawn.index(drawn[5])
    assert at > 1 and stopped.finished and stopped.tokens == at + 1
    assert stopped.text == tokenizer.decode(drawn[:at]).strip()


def test_a_stop_text_ends_an_answer_and_does_not_belong_to_it(wordy, tokenizer):
    words = next(engine(wordy, tokenizer).answers([asked("Why?")]))[1].text.split(" ")
    stop = f"{words[3]} {words[4][:2]}"
    # Beside a longer answer, whose rows go on: what follows the end is padding.
    made = engine(wordy, tokenizer, stop=(stop, "never said"))
    answers = {request.id: answer for request, answer in made.answers([asked("Why?"), asked("How far?", id="other")])}
    assert answers["one"].finished and answers["one"].tokens == 5
    assert answers["one"].text == " ".join(words[:3])
    assert not answers["other"].finished and answers["other"].tokens == 12


def test_an_answer_may_not_run_out_of_the_model_s_positions(model, tokenizer):
    positions = model.config.max_position_embeddings
    header = next(iter(engine(model, tokenizer)._prompts.windows([asked("")])))[0]
    near = asked("the " * (positions - len(header.ids) - 5), id="near")
    answers = dict((r.id, answer) for r, answer in engine(model, tokenizer).answers([asked("Why?"), near]))
    assert answers["near"].tokens < 12 and not answers["near"].finished and answers["one"].tokens == 12
    with pytest.raises(DataError, match=r"request far has \d+ tokens, and the model has 512 positions"):
        texts(engine(model, tokenizer), [asked("the " * positions, id="far")])


def test_a_refused_conversation_is_named(model):
    tokenizer = gemma_tokenizer()
    refusal = "{% if messages[0].role == 'system' %}{{ raise_exception('no system message') }}{% endif %}"
    tokenizer.chat_template = refusal + tokenizer.chat_template
    refused = Request(id="row 7", messages=[{"role": "system", "content": "Be brief."}], seed=0)
    with pytest.raises(DataError, match=r"request row 7 is refused by the chat template.*no system message"):
        texts(engine(model, tokenizer), [asked("Why?"), refused])


def test_a_prompt_has_one_bos(model, tokenizer):
    seen = []
    model.register_forward_pre_hook(lambda _, args, given: seen.append(given["input_ids"]), with_kwargs=True)
    texts(engine(model, tokenizer, max_new_tokens=1), [asked("Why?")])
    assert (seen[0] == tokenizer.bos_token_id).sum() == 1
    assert tokenizer.decode(seen[0][0]) == "<bos><start_of_turn>user\nWhy?<end_of_turn>\n<start_of_turn>model\n"


def test_the_model_s_own_decoding_habits_are_not_followed_and_given_back(model, tokenizer):
    plain = texts(engine(model, tokenizer, temperature=0), [asked("Why?")])
    model.generation_config.repetition_penalty = 5.0
    model.train()
    assert texts(engine(model, tokenizer, temperature=0), [asked("Why?")]) == plain
    assert model.training and model.generation_config.repetition_penalty == 5.0


def test_broken_weights_are_told(model, tokenizer):
    with torch.no_grad():
        model.model.norm.weight.fill_(torch.nan)
    for temperature in (0.0, 1.0):
        with pytest.raises(SetupError, match="has logits that are no numbers"):
            texts(engine(model, tokenizer, temperature=temperature), [asked("Why?")])


def test_a_stream_gives_the_same_answer_in_pieces(model, tokenizer):
    made = engine(model, tokenizer, max_new_tokens=40)
    whole = next(made.answers([asked("Why?")]))[1]
    pieces: list[str] = []
    assert made.stream(asked("Why?"), pieces.append) == whole
    assert "".join(pieces).strip() == whole.text and len(pieces) > 10


def test_a_stream_holds_back_what_may_be_a_stop_text(wordy, tokenizer):
    words = next(engine(wordy, tokenizer).answers([asked("Why?")]))[1].text.split(" ")
    made = engine(wordy, tokenizer, stop=(f"{words[3]} {words[4]}",))
    pieces: list[str] = []
    answer = made.stream(asked("Why?"), pieces.append)
    assert "".join(pieces).strip() == answer.text == " ".join(words[:3]) and answer.finished
