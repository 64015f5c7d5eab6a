"""Other programs, each in an environment of its own, on the same files as ours -> times and what they find."""
