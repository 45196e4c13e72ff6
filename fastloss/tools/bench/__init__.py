"""The benchmark behind `fastloss bench` and `bench/`: fastloss against Keras and a copy."""
