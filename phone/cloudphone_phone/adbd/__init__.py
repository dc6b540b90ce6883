"""The phone's side of the wire: messages, connections, streams, and the services that are opened over them."""
