"""Handwritten digits with Keras: an ordinary training script. Nothing in it knows about studio."""

import keras
from sklearn.datasets import load_digits

HELD_OUT = 360  # the last of the 1,797 images, by other writers, are for testing only

keras.utils.set_random_seed(7)
digits = load_digits()
images = (digits.images[..., None] / 16).astype("float32")
train_x, test_x = images[:-HELD_OUT], images[-HELD_OUT:]
train_y, test_y = digits.target[:-HELD_OUT], digits.target[-HELD_OUT:]

model = keras.Sequential(
    [
        keras.layers.Input((8, 8, 1)),
        keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
        keras.layers.Conv2D(64, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(train_x, train_y, validation_data=(test_x, test_y), epochs=8, batch_size=16, verbose=2)

_, accuracy = model.evaluate(test_x, test_y, verbose=0)
print(f"{accuracy:.1%} of {HELD_OUT} held-out images are recognised")
