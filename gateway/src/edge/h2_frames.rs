//! stub
#[derive(Debug, Default)]
pub struct FrameWatch(usize);
#[derive(Debug, Default)]
pub struct Limits {}
#[derive(Debug)]
pub enum Abuse {
    NotHttp2,
}
impl Abuse {
    pub fn code(&self) -> &'static str {
        "x"
    }
}
impl FrameWatch {
    pub fn feed(&mut self, b: &[u8], _: &Limits) -> Result<(), Abuse> {
        self.0 += b.len();
        Ok(())
    }
    pub fn is_inside_headers(&self) -> bool {
        false
    }
    pub fn preface_done(&self) -> bool {
        self.0 > 33
    }
    pub fn tick(&mut self) {}
}
