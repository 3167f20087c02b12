"""Chinese of the generated world. The tokenizer makes one token of every Han character."""

from __future__ import annotations

from optimer.world.language import Attribute, Language

_SURNAMES = "赵钱孙李周吴郑陈"
_GIVEN = (
    "安邦彬博昌超诚达丹德栋恩帆芳飞峰刚格冠光贵国涵翰浩恒宏鸿华焕辉慧吉佳嘉坚建健杰洁"
    "锦晶俊凯康可兰泰磊丽立亮玲龙璐曼茂美敏明娜宁培鹏萍琪强巧勤清琼荣瑞珊邵升诗帅淑爽"
    "思松涛婷廷彤伟炜文希贤祥翔晓欣鑫秀旭雅岩彦艳阳烨怡宜毅颖永勇友宇玉远悦泽展振正志"
    "智忠珠卓梓宗祖柏苍岱鼎方甫耿禾卢煦珂黎林孟牧南欧平齐仁申唐"
)
_ENDINGS = "州县镇乡"


def people() -> list[str]:
    """Candidate names of people: a surname and a given name that no other person has."""
    return [_SURNAMES[index % len(_SURNAMES)] + given for index, given in enumerate(_GIVEN[::2])]


def places() -> list[str]:
    """Candidate names of places: a character that no other place has, and an ending."""
    return [given + _ENDINGS[index % len(_ENDINGS)] for index, given in enumerate(_GIVEN[1::2])]


CHINESE = Language(
    code="zh",
    person=(
        Attribute("颜色", tuple("红蓝绿白黑黄紫灰")),
        Attribute("动物", tuple("猫狗马牛羊猪鸟虎")),
        Attribute("食物", tuple("米面鱼肉豆蛋果菜")),
        Attribute("工作", tuple("医农兵僧商渔师匠")),
        Attribute("乐器", tuple("琴笛鼓钟铃箫瑟锣")),
    ),
    place=(
        Attribute("特产", tuple("盐丝铁棉茶酒纸油")),
        Attribute("天气", tuple("阴风晴雪雾云雷热")),
        Attribute("景点", tuple("塔桥城港寺园门市")),
        Attribute("土地", tuple("湾丘沙森谷岛原沼")),
        Attribute("首领", tuple("王后公侯伯相将官")),
    ),
    statements=(
        "这里{name}的{noun}是{value}。",
        "说到{noun}，{name}有{value}。",
        "要问{name}，{noun}就是{value}。",
    ),
    questions=(
        "{name}的{noun}是什么？",
        "说到{noun}，{name}有什么？",
        "要问{name}，{noun}是什么？",
    ),
    fillers=(
        "{a}{b}在{c}旁边。",
        "{b}和{c}都很{a}。",
        "今天他们在{c}看见{a}{b}。",
    ),
    slots=(
        tuple("旧小静新长好慢圆"),
        tuple("船墙石路灯车箱信"),
        tuple("河窗木家田桌井池"),
    ),
    space="",
)
