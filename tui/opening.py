"""Opens what the command line asked for: the folder of chats, and the one to go on with."""

from __future__ import annotations

from tui.chats.keeper import ChatKeeper
from tui.chats.store import ChatStore
from tui.sampling import over
from tui.settings import ChatSettings


def open_keeper(settings: ChatSettings) -> ChatKeeper:
    """Open the folder of chats, and the chat that is to be gone on with.

    Raises:
        ConfigError: there is no such chat, or the file is no file of chats.
        MachineError: chats cannot be kept there.
    """
    store = ChatStore(settings.data_folder)
    keeper = ChatKeeper(store, model=settings.model_label, system=settings.system, sampling=settings.sampling)
    number = store.newest() if settings.resume == 0 else settings.resume
    if number is not None:
        keeper.open(store.chat(number))
        system = keeper.system if settings.system is None else settings.system
        keeper.set(system, over(keeper.sampling, settings.sampling))
    return keeper
