"""Constrained replies: whatever the weights want, the text follows the grammar."""

from __future__ import annotations

import json

import pytest

from configs.errors import ConfigError
from runtime.engine import Engine, Sampling
from runtime.grammars import choices_grammar, schema_grammar

WILD = Sampling(temperature=2.0, top_k=0, top_p=1.0, max_tokens=200)


def reply(engine: Engine, grammar: str, seed: int) -> tuple[str, str]:
    stream = engine.submit(
        [1, 300, 301, 302], Sampling(temperature=1.5, top_k=0, top_p=1.0, seed=seed), grammar=grammar
    )
    return "".join(stream), stream.finish


def test_a_reply_is_one_of_the_choices(engine: Engine) -> None:
    choices = ("人名", "地名", 'a "quoted" \\ one', "機構\n名")
    grammar = choices_grammar(choices)
    replies = {reply(engine, grammar, seed) for seed in range(12)}
    assert {text for text, _ in replies} <= set(choices)
    assert len(replies) > 1
    assert {finish for _, finish in replies} == {"stop"}


def test_a_reply_is_json_of_the_schema(engine: Engine) -> None:
    schema = {
        "type": "object",
        "properties": {"kind": {"enum": ["PER", "LOC"]}, "sure": {"type": "boolean"}},
        "required": ["kind", "sure"],
    }
    grammar = schema_grammar(json.dumps(schema))
    for seed in range(5):
        text, finish = reply(engine, grammar, seed)
        value = json.loads(text)
        assert finish == "stop"
        assert value.keys() == {"kind", "sure"}
        assert value["kind"] in ("PER", "LOC")
        assert isinstance(value["sure"], bool)


def test_a_seed_gives_the_same_constrained_text_again(engine: Engine) -> None:
    grammar = "root ::= [a-z]{20}"
    assert reply(engine, grammar, 5) == reply(engine, grammar, 5) != reply(engine, grammar, 6)


@pytest.mark.parametrize("grammar", ["root ::= (", 'other ::= "a"', "root ::= missing", 'root ::= root "a"'])
def test_a_wrong_grammar_is_refused_and_the_engine_lives(engine: Engine, grammar: str) -> None:
    with pytest.raises(ConfigError, match="grammar"):
        engine.submit([1, 300], WILD, grammar=grammar)
    assert "".join(engine.submit([1, 300], WILD))


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [("{", "is not JSON"), ("[]", "no JSON object"), ('{"type": "foo"}', "foo"), ('{"$ref": "#/x"}', "turned into")],
)
def test_a_wrong_schema_is_refused(schema: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        schema_grammar(schema)


@pytest.mark.parametrize("choices", [(), ("a", "a"), ("a", "")])
def test_choices_are_distinct_texts(choices: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="distinct"):
        choices_grammar(choices)
