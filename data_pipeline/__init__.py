"""Raw photos and videos of animals and people -> sharded, mixed image-video training sets."""
