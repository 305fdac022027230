from .voc import convert_voc as convert_voc
