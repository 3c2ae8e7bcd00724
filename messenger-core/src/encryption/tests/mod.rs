mod forms;
mod keys;
mod stores;
mod vectors;
