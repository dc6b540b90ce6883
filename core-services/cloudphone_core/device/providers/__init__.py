"""Where phones come from: containers of one kind or another behind one interface."""
