"""Keypoints with places of their own in the face, as guidance ties them to landmarks (conf/recipe/base.yaml)."""

LIDS = ((11, 13), (15, 16))
"""Upper and lower lid of each eye, the viewer's left eye first."""
LIPS = (20, 19)
"""Upper and lower inner lip."""
MOUTH_CORNERS = (14, 17)
"""The viewer's left one first."""
