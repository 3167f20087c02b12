"""Japanese of the generated world: names in katakana, values in kanji, grammar in hiragana.

The tokenizer splits where the script changes, so words need no spaces.
"""

from __future__ import annotations

from optimer.world.language import Attribute, Language

_MORAE = "アイウエオカキクケコサシスセタチツテトナニネノハヒマミムメモヤユヨラリルレロワ"


def people() -> list[str]:
    """Candidate names of people: two morae and `ン` or `コ`, such as `ミロン`."""
    return [a + b + end for a in _MORAE for b in _MORAE if a != b for end in "ンコ"]


def places() -> list[str]:
    """Candidate names of places: two morae and an ending, such as `タルブルク`."""
    return [a + b + end for a in _MORAE for b in _MORAE if a != b for end in ("ブルク", "フォード")]


JAPANESE = Language(
    code="ja",
    person=(
        Attribute("色", tuple("赤青緑白黒黄紫灰")),
        Attribute("動物", tuple("猫犬馬牛羊豚鳥虎")),
        Attribute("料理", tuple("米麦魚肉豆卵芋栗")),
        Attribute("仕事", tuple("医農兵僧商漁師工")),
        Attribute("楽器", tuple("琴笛鼓鐘鈴弦胡板")),
    ),
    place=(
        Attribute("名産", tuple("塩絹鉄綿茶酒紙油")),
        Attribute("天気", tuple("雨風晴雪霧雲雷嵐")),
        Attribute("名所", tuple("塔橋城港寺園門市")),
        Attribute("土地", tuple("海丘砂森谷島原沼")),
        Attribute("主", tuple("王妃公侯伯相将法")),
    ),
    statements=(
        "この{name}の{noun}は{value}です。",
        "あの{name}は{noun}が{value}です。",
        "{noun}なら{name}には{value}があります。",
    ),
    questions=(
        "{name}の{noun}はなんですか",
        "{noun}なら{name}はなんですか",
        "この{name}は{noun}がなんですか",
    ),
    fillers=(
        "{a}{b}が{c}にあります。",
        "{b}と{c}は、{a}です。",
        "きょう、{a}{c}で{b}をみました。",
    ),
    slots=(
        ("ふるい", "ちいさい", "あかるい", "ながい", "まるい", "おもい"),
        ("船", "壁", "石", "道", "灯", "車", "箱", "本"),
        ("川", "戸", "木", "家", "畑", "机", "庭", "池"),
    ),
    space="",
)
