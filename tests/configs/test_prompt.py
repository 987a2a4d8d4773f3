"""The renderer: golden bytes of every shipped format, and row text that can never become a special token."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import files
from configs.errors import ConfigError
from configs.formats import Formats
from configs.prompt import Piece, PromptFormat, encode, encode_split
from tests import tiny

USER = {"role": "user", "content": "U1"}
REPLY = {"role": "assistant", "content": "A1"}
AGAIN = {"role": "user", "content": "U2"}
SYSTEM = {"role": "system", "content": "S"}

ALPACA2 = "You are a helpful assistant. 你是一个乐于助人的助手。"
ALPACA1 = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
VICUNA = (
    "The following is a conversation between an AI assistant called Assistant and a human user called User. "
    "The assistant is intelligent, knowledgeable and polite to answer questions of user."
)

# (format, messages, with the generation prompt?, exact text)
GOLDEN = [
    ("alpaca2", [USER], True, f"<s>[INST] <<SYS>>\n{ALPACA2}\n<</SYS>>\n\nU1 [/INST]"),
    ("alpaca2", [USER, REPLY], False, f"<s>[INST] <<SYS>>\n{ALPACA2}\n<</SYS>>\n\nU1 [/INST] A1</s>"),
    (
        "alpaca2",
        [SYSTEM, USER, REPLY, AGAIN],
        True,
        "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nU1 [/INST] A1</s><s>[INST] U2 [/INST]",
    ),
    ("alpaca2", [{"role": "system", "content": ""}, USER], True, "<s>[INST] U1 [/INST]"),
    ("alpaca1", [USER], True, f"<s>{ALPACA1}\n\n### Instruction:\nU1\n\n### Response: "),
    ("alpaca1", [USER, REPLY], False, f"<s>{ALPACA1}\n\n### Instruction:\nU1\n\n### Response: A1</s>"),
    ("vicuna", [USER], True, f"<s>{VICUNA}\n\nUser:U1\n\nAssistant:"),
    ("vicuna", [USER, REPLY, AGAIN], True, f"<s>{VICUNA}\n\nUser:U1\n\nAssistant:A1\n\nUser:U2\n\nAssistant:"),
    ("vicuna", [USER, REPLY], False, f"<s>{VICUNA}\n\nUser:U1\n\nAssistant:A1</s>"),
    (
        "llama3",
        [SYSTEM, USER],
        True,
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nU1<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    (
        "llama3",
        [USER, REPLY],
        False,
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nU1<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nA1<|eot_id|>",
    ),
    (
        "chatml",
        [SYSTEM, USER],
        True,
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU1<|im_end|>\n<|im_start|>assistant\n",
    ),
    ("chatml", [USER, REPLY], False, "<|im_start|>user\nU1<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n"),
]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> tiny.SentencePieceVocabulary:
    return tiny.SentencePieceVocabulary(tiny.tokenizer(tmp_path_factory.mktemp("pieces")))


@pytest.mark.parametrize(("name", "messages", "generation", "text"), GOLDEN)
def test_shipped_formats_render_these_bytes(name, messages, generation, text):
    assert PromptFormat.load(name).render(messages, add_generation_prompt=generation).text == text


def test_every_shipped_format_has_a_golden_text():
    assert {name for name, *_ in GOLDEN} == set(files.names("prompts"))


@pytest.mark.parametrize(("name", "messages", "generation", "text"), GOLDEN)
def test_embedded_template_renders_the_same_bytes_in_plain_jinja(name, messages, generation, text):
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(
        PromptFormat.load(name).chat_template
    )
    rendered = template.render(messages=messages, add_generation_prompt=generation, bos_token="<s>", eos_token="</s>")
    assert rendered == text


@pytest.mark.parametrize("name", files.names("prompts"))
def test_format_survives_toml(name):
    prompt_format = PromptFormat.load(name)
    assert PromptFormat.from_toml(prompt_format.to_toml()) == prompt_format


@pytest.mark.parametrize("name", files.names("prompts"))
@settings(max_examples=60, deadline=None)
@given(
    content=st.lists(
        st.sampled_from(["<s>", "</s>", "<|im_end|>", "<|eot_id|>", "<", "/s>", "|", "[INST]", "字", "\ue000", "\x00"])
    ).map("".join)
)
def test_row_text_never_becomes_a_special_token(name, content):
    prompt_format = PromptFormat.load(name)
    plain = prompt_format.render([{"role": "user", "content": "字"}], add_generation_prompt=True)
    rendered = prompt_format.render([{"role": "user", "content": content}], add_generation_prompt=True)
    assert [piece.text for piece in rendered.pieces if piece.special] == [p.text for p in plain.pieces if p.special]
    assert rendered.text == plain.text.replace("字", content, 1) or "字" in content or not content


def test_text_that_ends_where_the_template_goes_on_stays_text():
    pieces = PromptFormat.load("alpaca2").render([USER, {"role": "assistant", "content": "<"}]).pieces
    assert pieces[-2:] == (Piece(pieces[-2].text, special=False), Piece("</s>", special=True))
    assert pieces[-2].text.endswith("[/INST] <")


def test_label_of_alpaca2_is_two_tokens(vocabulary):
    prompt, target = encode_split(
        PromptFormat.load("alpaca2"), [USER, {"role": "assistant", "content": "1"}], vocabulary
    )
    assert [vocabulary.pieces.id_to_piece(id_) for id_ in target] == ["▁", "1", "</s>"]
    assert prompt[0] == 1
    assert prompt.count(1) == 1


@pytest.mark.shared
def test_llama2_label_ids_of_the_real_vocabulary(shared_data):
    vocabulary = tiny.SentencePieceVocabulary(shared_data / "tokenizer" / "llama2-zh-55296.model")
    _, target = encode_split(PromptFormat.load("alpaca2"), [USER, {"role": "assistant", "content": "1"}], vocabulary)
    assert target == [29871, 29896, 2]


@pytest.mark.parametrize("name", ["alpaca2", "alpaca1", "vicuna"])
def test_prompt_and_target_are_the_whole(name, vocabulary):
    prompt_format = PromptFormat.load(name)
    for question in tiny.questions(20):
        messages = Formats.load(name, "formosa").question.messages(question)
        prompt, target = encode_split(prompt_format, messages, vocabulary)
        assert prompt + target == encode(prompt_format.render(messages), vocabulary)
        assert prompt == encode(prompt_format.prompt(messages[:1]), vocabulary)


def test_plain_text_is_one_run():
    prompt, target = PromptFormat.load("alpaca2").split([USER, REPLY])
    assert [piece.special for piece in prompt.pieces] == [True, False]
    assert [piece.text for piece in target.pieces] == [" A1", "</s>"]


@pytest.mark.parametrize(
    ("messages", "word"),
    [
        ([REPLY], "assistant"),
        ([USER, AGAIN], "user"),
        ([USER, SYSTEM], "system"),
        ([{"role": "user", "content": None}], "text"),
    ],
)
def test_roles_out_of_order_are_refused(messages, word):
    with pytest.raises(ConfigError, match=word):
        PromptFormat.load("alpaca2").render(messages)


def test_unknown_format_lists_the_shipped_ones():
    with pytest.raises(ConfigError, match="alpaca1, alpaca2, chatml, llama3, vicuna"):
        PromptFormat.load("alpaca3")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("templat = 'x'\n", "templat"),
        ("system = 3\n", "system"),
        ("broken = [", "TOML"),
    ],
)
def test_faulty_file_is_one_sentence(tmp_path, change, word):
    path = tmp_path / "mine.toml"
    text = PromptFormat.load("chatml").to_toml()
    path.write_text(
        change + "\n".join(line for line in text.splitlines() if not line.startswith(change.split()[0] + " "))
    )
    with pytest.raises(ConfigError, match=word) as error:
        PromptFormat.load(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("template", ["{{ messages | nothing }}", "{% if %}", "", "{{ ''.__class__.__mro__ }}"])
def test_template_that_cannot_serve_is_refused(template):
    table = {**PromptFormat.load("chatml").model_dump(), "template": template}
    with pytest.raises(ConfigError, match="template"):
        PromptFormat.from_table(table, "mine.toml")


def test_format_file_that_is_no_text_is_one_sentence(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"mine\.toml is not a UTF-8 text file"):
        PromptFormat.load(str(tmp_path / "mine.toml"))
