from reid.texts import align


def test_align():
    assert align([["a", "b"], ["long", "100"]]) == "| a    |   b |\n| ---- | --: |\n| long | 100 |"
