from .gallery import MilvusGallery as MilvusGallery
