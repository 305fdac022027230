from .locator import Location as Location, Locator as Locator
from .nearest import NearestPhotographHook as NearestPhotographHook
