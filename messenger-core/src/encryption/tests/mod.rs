mod forms;
mod keys;
mod sealing;
mod stores;
mod vectors;
