"""Local files -> frozen networks that tell what the truth does not: pose, identity, landmarks, features."""
