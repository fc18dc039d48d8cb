# frozen_string_literal: true

require "rbconfig"

# How every cargo call of this project sees its environment; extconf.rb and the rake tasks share it.
#
# rb-sys builds against `$RUBY`, else against the `ruby` on PATH, and rebuilds itself, magnus and all that depends on
# them whenever `$RUBY` changes, also from unset to set. So it is set only when it makes a difference: when the Ruby
# that runs is not the one on PATH. A plain `cargo test` and `rake` then share their builds.
module CargoEnv
  # @return [String, nil] the value `RUBY` should have, nil to leave it as it is
  def self.ruby
    return if ENV.key?("RUBY")

    running = File.realpath(RbConfig.ruby)
    running unless on_path("ruby")&.then { |path| File.realpath(path) } == running
  end

  # Sets the environment of this process, and so of the cargo processes it starts.
  def self.apply
    ruby&.then { |path| ENV["RUBY"] = path }
  end

  # @return [String, nil] the path of a program on PATH
  def self.on_path(name)
    ENV.fetch("PATH", "").split(File::PATH_SEPARATOR)
       .map { |folder| File.join(folder, "#{name}#{RbConfig::CONFIG["EXEEXT"]}") }
       .find { |path| File.file?(path) && File.executable?(path) }
  end
end
