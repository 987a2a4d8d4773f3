"""The ground floor: what two or more commands must agree on, and the data files behind it."""
