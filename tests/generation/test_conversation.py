"""A conversation: what the model is asked, what commands change, and what an interrupt leaves."""

from __future__ import annotations

import pytest
from tiny import gemma2, gemma_tokenizer

from alignment.errors import DataError
from alignment.generation.conversation import Conversation
from alignment.generation.transformers_engine import TransformersEngine
from alignment.recipe.generation_settings import GenerationSettings


class Heard:
    """An engine of a real, tiny model, which remembers what it was asked."""

    def __init__(self, **settings) -> None:
        tokenizer = gemma_tokenizer()
        settings = GenerationSettings(**{"temperature": 1.0, "max_new_tokens": 6, **settings})
        self.engine = TransformersEngine(settings, gemma2(len(tokenizer)).eval(), tokenizer)
        self.asked = []

    def stream(self, request, write):
        self.asked.append(request)
        return self.engine.stream(request, write)


def talk(engine, lines, *, patient: bool = True, write=lambda _: None, **options):
    """Returns the conversation and our notes."""
    notes: list[str] = []
    conversation = Conversation(
        engine, write=write, note=notes.append, patient=patient, **{"seed": 0, "system": None, **options}
    )
    conversation.run(lines)
    return conversation, "\n".join(notes)


def roles(request) -> list[str]:
    return [message["role"] for message in request.messages]


def test_a_turn_sees_those_before_it_and_draws_by_a_seed_of_its_own():
    engine, written = Heard(), []
    conversation, notes = talk(engine, ["Why?", "  ", "How far?"], write=written.append, seed=5)
    first, second = engine.asked
    assert roles(second) == ["user", "assistant", "user"]
    assert [message["content"] for message in second.messages[::2]] == ["Why?", "How far?"]
    assert (first.seed, second.seed) == (5, 6)
    assert second.messages[1]["content"] == "".join(written[: written.index("\n")]).strip()
    assert len(conversation.said) == 4 and notes.count("cut at the limit of 6 tokens") == 2


def test_commands():
    engine = Heard()
    lines = ["/system Be brief.", "Why?", "/reset", "How?", "/system", "When?", "/exit", "Never asked."]
    _, notes = talk(engine, lines, system="Be kind.")
    assert [roles(request) for request in engine.asked] == [
        ["system", "user"],
        ["system", "user"],
        ["user", "assistant", "user"],
    ]
    assert engine.asked[0].messages[0]["content"] == "Be brief."
    assert "(no system message)" in notes


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/sistem Be brief.", "/sistem is no command; did you mean /system?"),
        ("/zzz", "/zzz is no command; there are /reset, /system, /help, /exit"),
        ("/help", "/system TEXT  the system message from here on"),
    ],
)
def test_a_command_is_not_sent_to_the_model(line, told):
    engine = Heard()
    _, notes = talk(engine, [line])
    assert told in notes and not engine.asked


def test_a_path_is_no_command():
    engine = Heard()
    talk(engine, ["/etc/passwd holds what?"])
    assert len(engine.asked) == 1


def test_an_interrupt_ends_the_answer_and_keeps_what_was_said():
    engine, written = Heard(max_new_tokens=50), []

    def write(piece: str) -> None:
        written.append(piece)
        if len(written) == 4:
            raise KeyboardInterrupt

    conversation, notes = talk(engine, ["Why?", "How?"], write=write)
    assert "(stopped)" in notes
    assert roles(engine.asked[1]) == ["user", "assistant", "user"]
    assert conversation.said[1]["content"] == "".join(written[:4]).strip()


def test_an_interrupt_before_the_first_word_forgets_the_question():
    def interrupt(*_):
        raise KeyboardInterrupt

    engine = Heard()
    engine.engine._model.register_forward_pre_hook(interrupt)
    conversation, _ = talk(engine, ["Why?"])
    assert conversation.said == []


def test_a_refused_turn_is_told_and_forgotten_or_raised():
    engine = Heard()
    long = "the " * 600
    conversation, notes = talk(engine, ["Why?", long, "How?"])
    assert "request turn 2 has" in notes and "512 positions" in notes
    assert roles(engine.asked[2]) == ["user", "assistant", "user"] and len(conversation.said) == 4
    with pytest.raises(DataError, match="512 positions"):
        talk(Heard(), [long], patient=False)
