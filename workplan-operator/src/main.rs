mod decide;
mod observe;
mod plan;
mod pod;
mod refusal;
#[cfg(test)]
mod testing;
mod workspace;

fn main() {}
