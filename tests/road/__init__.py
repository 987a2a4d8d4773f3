"""The whole road, room after room, through the public commands."""
