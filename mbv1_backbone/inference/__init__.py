"""Networks that are ready to answer: detectors, embedders, classifiers."""
