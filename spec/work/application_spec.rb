# frozen_string_literal: true

require "spec_helper"

RSpec.describe "the application of stepwell work" do
  before do
    define_fleet_workflows
    start_orchestrator
  end

  # @param path [String] below the folder
  def write(path, text)
    path = File.join(folder, path)
    FileUtils.mkdir_p(File.dirname(path))
    File.write(path, text)
  end

  def start(*arguments, chdir: folder)
    run_ruby("require 'stepwell/work'; exit Stepwell::Work.main(#{arguments.inspect})", chdir: chdir)
  end

  def expect_work(process)
    executed_by(Stepwell.submit_all([{ workflow: "spec/quick" }] * 5))
    expect_end(process, "TERM")
  end

  # What stepwell work uses of Rails: an application that loads all of its code when it is told to.
  rails = <<~RUBY
    module Rails
      def self.application = @application ||= Object.new.tap do |application|
        def application.eager_load! = require("\#{__dir__}/../app/workflows.rb")
      end
    end
  RUBY

  it "is the Rails application in the working directory, all of it, when none is named" do
    write("config/environment.rb", rails)
    write("app/workflows.rb", Specs::Fleets::APPLICATION)
    expect_work(start("-p", "2"))
  end

  it "is the Rails application of a folder" do
    write("shop/config/environment.rb", rails)
    write("shop/app/workflows.rb", Specs::Fleets::APPLICATION)
    expect_work(start("-r", "shop"))
  end

  it "is every Ruby file below another folder" do
    write("shop/a/workflows.rb", Specs::Fleets::APPLICATION)
    write("shop/b.rb", '$stdout.write("b\n")')
    process = start("-r", "./shop")
    expect(process.gets).to eq("b")
    expect_work(process)
  end

  it "is all that is named, in that order, with or without .rb" do
    write("first.rb", 'FIRST = "first"')
    write("second.rb", "#{Specs::Fleets::APPLICATION}\n$stdout.write(FIRST + \"\\n\")")
    process = start("-r", "first", "-r", "second.rb", "-p", "2")
    expect(process.gets).to eq("first")
    expect_work(process)
  end
end
