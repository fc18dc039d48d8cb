# frozen_string_literal: true

require "spec_helper"
require "stepwell/work"

# ruby/sig/stepwell.rbs is what editors and type checkers believe: it must name what there is, and all of it.
RSpec.describe "the RBS signatures" do
  text = File.read(File.join(Specs::ROOT, "ruby/sig/stepwell.rbs"), encoding: "UTF-8")

  # @return [Hash{String => Array<String>}] class name => public methods that the signatures declare
  declared = Hash.new { |all, name| all[name] = [] }
  current = nil
  text.each_line do |line|
    case line
    when /^  (?:class|module) (\w+)/ then current = "Stepwell::#{Regexp.last_match(1)}"
    when /^  (end|interface)/ then current = nil
    when /^  def self\.([\w?=]+):/ then declared["Stepwell.self"] << Regexp.last_match(1)
    when /^    def self\.([\w?=]+):/ then declared["#{current}.self"] << Regexp.last_match(1)
    when /^    (?:def|attr_reader) ([\w?=]+):/ then declared[current] << Regexp.last_match(1) if current
    when /^    attr_accessor (\w+):/ then declared[current].push(Regexp.last_match(1), "#{Regexp.last_match(1)}=")
    end
  end

  declared.each do |owner, methods|
    it "declare methods that #{owner} has" do
      name, singleton = owner.split(".")
      object = Object.const_get(name)
      missing = methods.reject do |method|
        next object.respond_to?(method) if singleton

        object.method_defined?(method) || object.private_method_defined?(method)
      end
      expect(missing).to be_empty
    end
  end

  it "declare the public methods of the classes that users call" do
    api_private = { "Task" => %w[connection adopt inspect], "Worker" => %w[connection inspect],
                    "Orchestrator" => %w[connection inspect], "StepExecution" => [], "ApiHandler" => [] }
    api_private.each do |name, hidden|
      methods = Stepwell.const_get(name).public_instance_methods(false).map(&:to_s) - hidden
      expect(methods - declared["Stepwell::#{name}"]).to be_empty, "#{name}: #{methods - declared["Stepwell::#{name}"]}"
    end
  end
end
