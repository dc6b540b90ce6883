"""A card provider to try out and test with: it speaks the part of Stripe's API that billing uses, keeps books that
outlive it, shows a checkout page, sends signed webhooks, and fails in all the ways that a provider can."""
