// Ctrl-C in a conversation cancels the answer that is being printed; with no answer under way it ends the program.
#pragma once

#include <functional>
#include <mutex>
#include <thread>

namespace latentd {

class Interrupt {
 public:
  Interrupt();  // before any other thread starts: they inherit the blocked mask
  ~Interrupt();

  // While the guard lives, Ctrl-C calls `cancel` instead of ending the program.
  class Guard {
   public:
    Guard(Interrupt& interrupt, std::function<void()> cancel);
    ~Guard();

   private:
    Interrupt& interrupt_;
  };

 private:
  void Run();

  std::mutex mutex_;
  std::function<void()> cancel_;  // guarded by mutex_, like the next
  bool is_over_ = false;
  std::thread thread_;
};

}  // namespace latentd
