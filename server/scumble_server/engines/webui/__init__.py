"""A running AUTOMATIC1111 or Forge: its JSON interface (``--api``), ControlNet by its extension."""
