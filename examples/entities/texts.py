"""Made-up texts with their named entities: people of the demo's small world, cities, and shops with two-word names."""

from __future__ import annotations

import json
import random
from pathlib import Path

from world import CATEGORIES, NAMES

CITIES = ("台北", "台中", "台南", "高雄")
COLOURS, WARES = CATEGORIES[6].values, (*CATEGORIES[5].values, *CATEGORIES[9].values)
PLACED = ("住在X", "去過X", "常往X走")
EMPLOYED = ("在X讀書", "想當X司機", "愛吃X西瓜", "每天喝X紅茶")
PLAIN = tuple(
    pair[0].replace("V", value)
    for place in (0, 2, 4, 8, 10, 11)
    for pair in CATEGORIES[place].wordings
    for value in CATEGORIES[place].values
)

Entity = tuple[str, str]
Text = tuple[str, list[Entity]]


def clause(draw: random.Random) -> Text:
    """Part of a sentence, with none to two entities."""
    name = draw.choice(NAMES) if draw.random() < 0.7 else ""
    entities = [(name, "PER")] if name else []
    kind = draw.random()
    if kind < 0.35:
        city = draw.choice(CITIES)
        return name + draw.choice(PLACED).replace("X", city), [*entities, (city, "LOC")]
    if kind < 0.65:
        shop = draw.choice(COLOURS) + draw.choice(WARES)
        return name + draw.choice(EMPLOYED).replace("X", shop), [*entities, (shop, "ORG")]
    return name + draw.choice(PLAIN), entities


def text(draw: random.Random) -> Text:
    """One or two clauses."""
    clauses = [clause(draw) for _ in range(draw.randint(1, 2))]
    return ",".join(words for words, _ in clauses) + "。", [entity for _, found in clauses for entity in found]


def texts(draw: random.Random, count: int, taken: frozenset[str] = frozenset()) -> list[Text]:
    """So many different texts, none of them among `taken`."""
    found: dict[str, list[Entity]] = {}
    while len(found) < count:
        words, entities = text(draw)
        if words not in taken:
            found[words] = entities
    return list(found.items())


def write(path: Path, rows: list[Text]) -> None:
    """One JSON object a line."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for words, entities in rows:
            listed = [{"entity": entity, "entity_type": kind} for entity, kind in entities]
            file.write(json.dumps({"text": words, "entity_list": listed}, ensure_ascii=False) + "\n")
