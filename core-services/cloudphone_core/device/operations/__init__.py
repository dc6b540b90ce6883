"""Long work on devices: asked for in the transaction that changes the device, done by whichever worker is free."""
