"""The story that ships with the pack."""

NUPJUKI = """\
[plain] {subject}, reading a newspaper in a vintage cafe, colorful. @nupjuki (thinks): Gold, in the old forest? \
# reading a newspaper in a vintage cafe
[plain] {subject}, walking out of a cafe, colorful. @nupjuki: I am off! # walking out of a cafe
cars driving in a lush forest illuminated by fireflies, whole view @sound: VROOM # cars driving in a lush forest
[id] {subject}, standing in a lush forest illuminated by fireflies # standing in a lush forest
[id] [hidden] {subject}, walking in a lush forest illuminated by fireflies
a giant spider in a lush forest illuminated by fireflies @nupjuki (off, shouts): A spider! # a giant spider
{subject} running in a lush forest # running in a lush forest
a house in a lush forest illuminated by fireflies # a house, illuminated by fireflies
a room, filled with gold, ancient artifacts, and treasure chests @nupjuki (off, whispers): It is true ... \
# a room filled with gold
[plain] {subject} surrounded by money, jewels, wearing sunglasses, wearing golden clothes. @nupjuki: All mine! \
# surrounded by money and jewels"""
"""The nine-panel comic of the StoryBooth report, in page order; what is said in it is ours."""

NUPJUKI_ROWS = "4: 3 > 2 / 3: 2 1 / 5: 3 < 2 / 3: 1 1 1"
"""The rows of its page, for Page Layout (`rows.py` has the notation)."""

SUBJECT = "a blue sks plush"
"""Whom it is about, in the words that the sample photos are trained with."""
