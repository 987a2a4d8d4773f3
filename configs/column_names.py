"""What files call their columns and dialogues their speakers: known names that every reader of them agrees on."""

from __future__ import annotations

ID = ("id", "編號", "编号")
SYSTEM = ("system", "system_prompt")
INSTRUCTION = ("instruction", "instruct", "prompt", "question", "指令", "問題", "问题")
INPUT = ("input", "query", "context", "輸入", "输入")
OUTPUT = ("output", "answer", "response", "completion", "reply", "輸出", "输出", "回答", "答案")
MESSAGES = ("messages", "conversations", "conversation", "dialogue")
ENTITIES = ("entity_list", "entities")
TEXT = ("text", "content", "文本", "內容", "内容")
SOURCE = ("資料來源", "资料来源", "來源", "来源", "source")
"""Columns that say where a question or a record comes from."""

SPEAKERS = {
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model"), "assistant"),
    "system": "system",
}
"""What dialogues call who speaks -> the role of a message."""


def normalised(column: str) -> str:
    """A column's name as the tables above have it: without blanks, in small letters."""
    return "".join(column.split()).lower()
