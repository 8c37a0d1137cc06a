from matplotlib.figure import Figure

from reid.drawing import png, styles


def test_powers_of_ten_stay_formulas():
    figure = Figure()
    linear, log = figure.subplots(1, 2)
    log.set_yscale("log")
    linear.set_title(r"a $\frac b$")  # as a formula it cannot be read
    png(figure)
    assert not linear.title.get_parse_math() and not any(text.get_parse_math() for text in linear.get_xticklabels())
    assert all(text.get_parse_math() for text in log.get_yticklabels())


def test_models_keep_their_look():
    looks = styles([f"m{n}" for n in range(7)])
    assert len({look.color for look in looks.values()}) == len({look.marker for look in looks.values()}) == 7
    assert styles(["m0", "m1"]) == {name: looks[name] for name in ("m0", "m1")}
