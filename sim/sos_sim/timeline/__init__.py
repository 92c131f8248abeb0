"""What went wrong, as a picture: the rows of a trace around a finding become lanes, bars and numbered events.

A lane is a part: a pole, its wire, the agent, a broker, the station, the officers. ``around`` makes the picture,
``text.draw`` draws it for a terminal, ``page.draw`` as one HTML file.
"""
