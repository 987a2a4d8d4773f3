"""The chat in a browser: a page, a socket for every tab, and one engine behind them all."""
