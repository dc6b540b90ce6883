"""What the phone is inside: packages, files, apps, screen, log."""
